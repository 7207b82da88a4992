/**
 * npm run pictures: runs `npm start` in a terminal and writes what README.md shows of it into examples/quickstart: the plot,
 * and the terminal with each line at the time at which it was printed. Needs `script` of util-linux.
 */
import { spawnSync } from "node:child_process"
import { copyFileSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { root } from "../project/support.js"

const columns = 80
const here = "~/effect-rhapsody"
const pictures = join(root, "examples/quickstart")
const folder = mkdtempSync(join(tmpdir(), "pictures-"))

/** What is printed, and the seconds from one piece to the next. */
const record = (command: string) => {
  const [text, times] = [join(folder, "text"), join(folder, "times")]
  const line = `stty cols ${columns} rows 50; ${command}`
  const { status } = spawnSync("script", ["-qe", "-c", line, "--log-out", text, "--log-timing", times], { cwd: root })
  if (status !== 0) throw new Error(`${command} ended with ${status}: ${readFileSync(text, "utf8")}`)
  // its first line and its last are those of script
  const bytes = readFileSync(text)
  const body = bytes.subarray(bytes.indexOf("\n") + 1)
  let [time, position] = [0, 0]
  return readFileSync(times, "utf8")
    .trimEnd()
    .split("\n")
    .map((row) => {
      const [seconds, length] = row.split(" ").slice(-2).map(Number) as [number, number]
      time += seconds
      position += length
      return { time, piece: body.subarray(position - length, position) }
    })
}

/** To the beginning of the line, and clear it. */
const clear = "\r\x1b[2K"

interface Shown {
  readonly line: number
  readonly text: string
  readonly from: number
  /** When something else took its place; undefined: it stays. */
  to?: number
}

/** A terminal that knows new lines, and `\r` with the clearing of the line. */
const play = (pieces: ReadonlyArray<{ readonly time: number; readonly piece: Buffer }>): ReadonlyArray<Shown> => {
  const all: Array<Shown> = []
  const decoder = new TextDecoder()
  let [line, current] = [0, ""]
  const show = (time: number) => {
    const before = all.find((one) => one.line === line && one.to === undefined)
    if (before?.text === current) return
    if (before !== undefined) before.to = time
    all.push({ line, text: current, from: time })
  }
  for (const { piece, time } of pieces) {
    const parts = decoder
      .decode(piece, { stream: true })
      .replaceAll(clear, "\r")
      .split(/(\r\n|\r)/)
    for (const part of parts) {
      if (part.startsWith("\r")) {
        current = ""
        if (part === "\r\n") line++
      }
      if (!/^\r|^$/.test(part)) {
        current += part
        show(time)
      }
    }
  }
  return all.filter(({ from, to }) => to === undefined || to - from > 0.01)
}

const escaped = (text: string) => text.replace(/[&<>]/g, (character) => `&#${character.charCodeAt(0)};`)
const ours = (text: string) =>
  text
    .replaceAll(realpathSync(join(root, "node_modules")), `${here}/node_modules`)
    .replaceAll(root.replace(/\/$/, ""), here)

/** Where nothing is animated, the end is seen. */
const draw = (all: ReadonlyArray<Shown>): string => {
  const [size, left, top] = [17, 16, 52]
  const [width, height] = [columns * 8 + 2 * left, top + (Math.max(...all.map(({ line }) => line)) + 1) * size]
  const texts = all.map(({ from, line, text, to }) => {
    const at = from.toFixed(2)
    const gone = to === undefined ? "" : ` end="${to.toFixed(2)}s"`
    const [visibility, set] =
      to === undefined
        ? ["visible", `<set attributeName="visibility" to="hidden" begin="0s" end="${at}s"/>`]
        : ["hidden", `<set attributeName="visibility" to="visible" begin="${at}s"${gone}/>`]
    return `<text x="${left}" y="${top + line * size}" visibility="${visibility}">${escaped(ours(text))}${set}</text>`
  })
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="monospace" font-size="13" fill="#d8dee9" xml:space="preserve">
<title>npm start in a terminal</title>
<rect width="100%" height="100%" rx="8" fill="#1b1f27"/>
<text x="${left}" y="28" fill="#88c0d0">$ npm start</text>
${texts.join("\n")}
</svg>
`
}

try {
  const output = join(root, ".rhapsody/quickstart")
  writeFileSync(join(pictures, "terminal.svg"), draw(play(record("npm --silent start"))))
  copyFileSync(join(output, "delays.svg"), join(pictures, "delays.svg"))
} finally {
  rmSync(folder, { recursive: true })
}
