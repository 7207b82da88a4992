/**
 * Lines for bash before a program, and the proof that they came to it.
 *
 * The shell reports its way on descriptor 3: "." before each line, "!" when the program takes the shell's place, "?" and
 * the code when it could not. The proof is written by a second shell, which knows nothing of what the lines have changed
 * in the first: functions, aliases, traps, options.
 */
import type { Executable, ProcessExit } from "../../Driver.js"

/**
 * All of it is parsed before the first line runs. The lines see neither the program nor its input, and cannot reach the
 * descriptor. They are no function and no loop: `declare`, `return` and `break` mean what they mean in a script. An
 * array is never exported.
 */
const script = (lines: number): string =>
  [
    `{ rhapsody_lines=("\${@:1:${lines}}") rhapsody_program=("\${@:${lines + 1}}") rhapsody_status=(0)`,
    "set --",
    "exec 19>&3 3>&-",
    ...Array.from({ length: lines }, (_, i) => [
      "builtin printf . >&19",
      `builtin eval "\${rhapsody_lines[${i}]}" </dev/null 19>&-`,
      "rhapsody_status[0]=$?",
      `[[ \${rhapsody_status[0]} = 0 ]] || builtin exit "\${rhapsody_status[0]}"`
    ]).flat(),
    `builtin exec -- "$BASH" -p -c '${proof}' bash "\${rhapsody_program[@]}"; }`
  ].join("\n")

const proof =
  'unset -f printf; shopt -s execfail; printf ! >&19; { exec -- "$@"; } 19>&-; s=$?; printf "?%d" $s >&19; exit $s'

/** The program with its lines: what is started in its place. */
export const prepared = (program: Executable): Executable => {
  const { args, executable, preExec } = program
  if (preExec.length === 0) return program
  return {
    ...program,
    executable: "bash",
    args: ["-c", script(preExec.length), "bash", ...preExec, executable, ...args]
  }
}

/** Why a program did not run, by what the shell reported and how it ended; empty when it did. */
export const notReached = (
  { args, preExec }: Executable,
  reported: string,
  { exitCode, signal }: { readonly exitCode?: number; readonly signal?: string }
): Pick<ProcessExit, "unreached"> => {
  if (reported.endsWith("!")) return {}
  const code = reported.split("?")[1]
  if (code !== undefined) {
    const executable = args[3 + preExec.length]!
    const path = typeof executable === "string" ? executable : Buffer.from(executable).toString()
    return {
      unreached:
        code === "127"
          ? {
              message: `${path}: the shell does not find it after the lines of preExec; give a path, or a name that is in the PATH that they leave`,
              errno: "ENOENT",
              path
            }
          : { message: `${path}: the shell cannot execute it; make it executable`, errno: "EACCES", path }
    }
  }
  const line = Math.max(0, reported.length - 1)
  const message =
    signal !== undefined
      ? `preExec[${line}] was killed by ${signal} before the program`
      : exitCode === 0
        ? `preExec[${line}] ended the shell with code 0 before the program; a line must not exit, exec or change how the shell runs`
        : `preExec[${line}] failed with code ${exitCode}`
  return { unreached: { message, preExec: line } }
}
