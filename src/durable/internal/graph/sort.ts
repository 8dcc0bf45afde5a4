import type { AnyNode } from "../../Graph.js"

type Sorted =
  | { readonly nodes: ReadonlyArray<AnyNode> }
  | { readonly reason: "Cycle" | "Duplicate" | "Empty"; readonly nodes: ReadonlyArray<string> }

/** Every node after those it comes after. */
export const sortNodes = (roots: ReadonlyArray<AnyNode>): Sorted => {
  if (roots.length === 0) return { reason: "Empty", nodes: [] }
  const sorted: Array<AnyNode> = []
  const done = new Set<AnyNode>()
  const names = new Map<string, AnyNode>()

  const visit = (node: AnyNode, way: ReadonlyArray<AnyNode>): Sorted | undefined => {
    if (done.has(node)) return undefined
    const at = way.indexOf(node)
    if (at >= 0) return { reason: "Cycle", nodes: [...way.slice(at), node].map(({ name }) => name) }
    if (names.has(node.name)) return { reason: "Duplicate", nodes: [node.name] }
    names.set(node.name, node)
    for (const before of Object.values(node.after)) {
      const wrong = visit(before, [...way, node])
      if (wrong !== undefined) return wrong
    }
    done.add(node)
    sorted.push(node)
    return undefined
  }

  for (const root of roots) {
    const wrong = visit(root, [])
    if (wrong !== undefined) return wrong
  }
  return { nodes: sorted }
}
