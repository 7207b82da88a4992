# How many different numbers there are on standard input, one a line, to six decimals. Any POSIX awk will do.
{ seen[sprintf("%.6f", $1)] }
END { for (number in seen) count++; print count + 0 }
