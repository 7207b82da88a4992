/** Sockets on which processes listen, as the system knows them. */
import * as fs from "node:fs"

/** Where a process listens: an address and port, or the path of a Unix socket. */
export interface Listener {
  readonly pid: number
  readonly family: "tcp" | "tcp6" | "unix"
  /** In the system's own notation: `0100007F` is 127.0.0.1. Empty for a Unix socket. */
  readonly address: string
  readonly port: number
}

const socketsOf = (pid: number): ReadonlySet<string> => {
  try {
    return new Set(
      fs.readdirSync(`/proc/${pid}/fd`).flatMap((fd) => {
        try {
          return [/^socket:\[(\d+)\]$/.exec(fs.readlinkSync(`/proc/${pid}/fd/${fd}`))?.[1] ?? ""]
        } catch {
          return [] // it was closed meanwhile
        }
      })
    )
  } catch {
    return new Set() // it ended
  }
}

const rows = (file: string): ReadonlyArray<ReadonlyArray<string>> => {
  const [, ...lines] = fs.readFileSync(file, "utf8").trim().split("\n")
  return lines.map((line) => line.trim().split(/\s+/))
}

/** Every socket on which one of the processes listens. */
export const listeners = (pids: ReadonlyArray<number>): ReadonlyArray<Listener> => {
  const owned = pids.map((pid) => [pid, socketsOf(pid)] as const)
  const all: Array<Omit<Listener, "pid"> & { readonly inode: string }> = []
  for (const family of ["tcp", "tcp6"] as const) {
    for (const row of rows(`/proc/net/${family}`)) {
      if (row[3] !== "0A") continue // it does not listen
      const [address, port] = row[1]!.split(":") as [string, string]
      all.push({ family, address, port: Number.parseInt(port, 16), inode: row[9]! })
    }
  }
  for (const row of rows("/proc/net/unix")) {
    // __SO_ACCEPTCON
    if ((Number.parseInt(row[3]!, 16) & 0x10000) !== 0) {
      all.push({ family: "unix", address: row[7] ?? "", port: 0, inode: row[6]! })
    }
  }
  return owned.flatMap(([pid, inodes]) =>
    all.filter(({ inode }) => inodes.has(inode)).map(({ inode: _, ...rest }) => ({ pid, ...rest }))
  )
}

export const loopback = "0100007F"
