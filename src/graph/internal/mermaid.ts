import type { RunStatus, StepStatus } from "../../durable/Workflow.js"
import { escapeName } from "../../resilience/Key.js"
import type { AnyNode, Graph } from "../Graph.js"
import { graphMark } from "./runGraph.js"

const colours = {
  completed: "fill:#d3f9d8,stroke:#2b8a3e,color:#1b1b1b",
  failed: "fill:#ffe3e3,stroke:#c92a2a,color:#1b1b1b",
  started: "fill:#d0ebff,stroke:#1864ab,color:#1b1b1b",
  waiting: "fill:#fff3bf,stroke:#e67700,color:#1b1b1b",
  asked: "fill:#f3d9fa,stroke:#862e9c,color:#1b1b1b"
} as const

export const mermaidOf = (
  { all, name }: Graph<Readonly<Record<string, AnyNode>>>,
  status: RunStatus | undefined
): string => {
  const idOf = new Map(all.map((node, i) => [node, `n${i}`]))
  const found = new Map(all.map((node) => [node, status && stepOf(status, name, node)]))
  const nodes = all.map((node) => {
    const label = quote(labelOf(node, found.get(node)))
    return node.step === undefined ? `  ${idOf.get(node)}([${label}])` : `  ${idOf.get(node)}[${label}]`
  })
  const edges = all.flatMap((node) =>
    Object.values(node.after).map((before) => `  ${idOf.get(before)} --> ${idOf.get(node)}`)
  )
  const statuses = Object.keys(colours) as ReadonlyArray<keyof typeof colours>
  const classes = statuses.flatMap((one) => {
    const ids = all.flatMap((node) => (found.get(node)?.status === one ? [idOf.get(node)] : []))
    return ids.length === 0 ? [] : [`  classDef ${one} ${colours[one]}`, `  class ${ids.join(",")} ${one}`]
  })
  return ["flowchart TD", ...nodes, ...edges, ...classes].join("\n")
}

/** The latest execution of the node's step within the graph's section. */
const stepOf = ({ steps }: RunStatus, graph: string, { name }: AnyNode): StepStatus | undefined => {
  const key = `${escapeName(graph)}${graphMark}/${escapeName(name)}`
  const withoutOccurrence = (path: string) => `/${path}`.replace(/#\d+(?=\/|$)/g, "")
  return steps.filter((step) => withoutOccurrence(step.key).endsWith(`/${key}`)).at(-1)
}

const labelOf = ({ name }: AnyNode, step: StepStatus | undefined): string =>
  step === undefined ? name : `${name}: ${step.status}${step.attempts > 1 ? `, attempt ${step.attempts}` : ""}`

/** Encodes special characters as Mermaid entities, so that a name cannot end the quotes. */
const quote = (text: string): string =>
  `"${text.replace(/[&"<>#;\n\r]/g, (character) => `#${character.codePointAt(0)};`)}"`
