// Runs the main job and draws what it prints as docs/demo.svg, the picture of the README: node tools/demo.mjs, after npm run build.
// The lines are those of a real run. Repetitions are left out, and an ellipsis says where.
import { spawnSync } from "node:child_process"
import { writeFileSync } from "node:fs"

const { status, stdout } = spawnSync(process.execPath, ["dist-examples/main-job/main.js"], {
  encoding: "utf8",
  env: { ...process.env, FORCE_COLOR: "1" }
})
if (status !== 0) throw new Error(`the main job failed:\n${stdout}`)

const escape = String.fromCharCode(27)
const codes = new RegExp(`${escape}\\[(\\d+)m`)
const plain = (line) =>
  line
    .split(codes)
    .filter((_, i) => i % 2 === 0)
    .join("")

/** The lines to show: both kills and what follows them, then the checks at the end. */
const select = (lines) => {
  const chosen = []
  let starts = 0
  let answered = 0
  let completed = 0
  for (const line of lines) {
    const text = plain(line)
    if (/worker \d started/.test(text)) [answered, completed] = [0, 0, starts++]
    if (/ journal /.test(text) && ++answered > 2) {
      if (answered === 3) chosen.push("        …")
      continue
    }
    if (starts === 3 && / done /.test(text) && ++completed > 1) {
      chosen.push("        …", "")
      break
    }
    if (!/ is gone$/.test(text)) chosen.push(line)
  }
  return [...chosen, ...lines.filter((line) => /^ {2}(?:yes|NO ) {2}/.test(plain(line)))]
}

const colours = { 1: "#ffffff", 2: "#8b949e", 31: "#ff7b72", 32: "#56d364", 33: "#e3b341", 36: "#79c0ff" }
const text = (value) => value.replaceAll("&", "&amp;").replaceAll("<", "&lt;")

/** Spans of one line; codes do not overlap but for bold within a colour. */
const spans = (line) => {
  const open = []
  return line
    .split(codes)
    .map((part, i) => {
      if (i % 2 === 0) {
        const colour = open.findLast((code) => code > 1) ?? open.at(-1)
        const weight = open.includes(1) ? ' font-weight="bold"' : ""
        return part === "" ? "" : `<tspan fill="${colours[colour] ?? "#e6edf3"}"${weight}>${text(part)}</tspan>`
      }
      if (part === "0") open.length = 0
      else open.push(Number(part))
      return ""
    })
    .join("")
}

const lines = [`${escape}[2m$${escape}[0m npm start`, ...select(stdout.trimEnd().split("\n"))]
const [width, height, top] = [760, 17 * lines.length + 56, 52]
const rows = lines.map((line, i) => `<text x="20" y="${top + 17 * i}" xml:space="preserve">${spans(line)}</text>`)
const dots = ["#ff5f57", "#febc2e", "#28c840"].map(
  (fill, i) => `<circle cx="${22 + 18 * i}" cy="20" r="6" fill="${fill}"/>`
)

writeFileSync(
  "docs/demo.svg",
  [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-labelledby="demo">`,
    '<title id="demo">A terminal: a durable upload is killed twice and completes; each step ran to completion once</title>',
    `<rect width="${width}" height="${height}" rx="10" fill="#0d1117"/>`,
    ...dots,
    '<g font-family="ui-monospace,SFMono-Regular,Menlo,Consolas,\'DejaVu Sans Mono\',monospace" font-size="13">',
    ...rows,
    "</g>",
    "</svg>",
    ""
  ].join("\n")
)
console.log(`docs/demo.svg: ${lines.length} lines`)
