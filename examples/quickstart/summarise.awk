# Sums up one part of the flights by hour of the day, as JSON. Any POSIX awk will do.
# A line of input: delay in minutes, distance in miles, time as hours since midnight, with commas between.

BEGIN {
	FS = ","
	# With -v flaky=1 the first attempt fails, as programs do when a disk is full or a server busy.
	# 75 is the code that sysexits.h has for a temporary failure.
	if (flaky && ENVIRON["RHAPSODY_ATTEMPT"] == 1) {
		print "out of luck for the moment, try again" | "cat 1>&2"
		status = 75
		exit
	}
}

{
	millis = int($3 * 3600000 + 0.5)
	hour = int(millis / 3600000)
	flights[hour] += 1
	delay[hour] += $1
	distance[hour] += $2
	time[hour] += millis
	late[hour] += ($1 > 15)
}

END {
	if (status) exit status
	# %.0f, for in some awks %d ends at 2^31
	for (hour = 0; hour <= 24; hour++) if (hour in flights) {
		printf "%s{\"hour\":%d,\"flights\":%d,", (n++ ? ",\n " : "["), hour, flights[hour]
		printf "\"delay\":%.0f,\"distance\":%.0f,", delay[hour], distance[hour]
		printf "\"time\":%.0f,\"late\":%d}", time[hour], late[hour]
	}
	print "]"
}
