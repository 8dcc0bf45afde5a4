/** Images of plots in the documentation: one style, readable on a light and on a dark page. */

export const escaped = (text: string): string =>
  text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;")

const style = `<style>
text { font: 13px sans-serif; fill: #24292f }
.axis { stroke: #8c959f; stroke-width: 1 } .grid { stroke: #8c959f; stroke-opacity: 0.25 }
.line { fill: none; stroke-width: 2 } .s0 { stroke: #0969da } .s1 { stroke: #bc4c00 } .s2 { stroke: #1a7f37 } .s3 { stroke: #8250df }
.note { font-size: 12px; fill: #57606a } .reached { fill: #1a7f37 } .missed { fill: #bc4c00 }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 } .s0 { stroke: #58a6ff } .s1 { stroke: #f0883e } .s2 { stroke: #3fb950 } .s3 { stroke: #bc8cff }
.note { fill: #8d96a0 } .reached { fill: #3fb950 } .missed { fill: #f0883e }
}
</style>`

/** An image of these elements. The title is what a reader of screens says. */
export const imageOf = (
  { height, title, width }: { readonly width: number; readonly height: number; readonly title: string },
  elements: ReadonlyArray<string>
): string =>
  [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img">`,
    `<title>${escaped(title)}</title>`,
    style,
    ...elements,
    "</svg>",
    ""
  ].join("\n")
