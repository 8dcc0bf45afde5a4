import type { WaitLine } from "../../../journal/JournalLine.js"
import type { Parent } from "../../../storage/Storage.js"
import type { Execution, Mode } from "../execution/execution.js"
import type { Branch } from "../execution/fiberTree.js"
import type { AnyDefinition } from "../run/advance.js"

/** One use of a child run in the body of its parent. */
export interface Child {
  /** That of the parent. */
  readonly execution: Execution
  readonly key: string
  readonly definition: AnyDefinition
  readonly use: "execute" | "start" | "join"
  /** The id of the child's run. */
  readonly id: string
  readonly input: unknown
  readonly labels: Readonly<Record<string, string>> | undefined
  readonly parent: Parent
  readonly line: WaitLine & { readonly child: NonNullable<WaitLine["child"]> }
  readonly place: { readonly isRoot: boolean; readonly isInterruptible: boolean }
  readonly branch: Branch | undefined
}

/** The parent's process executes the child as it executes the parent. A backoff of the parent is one of the child, too. */
export const modeOf = ({ execution }: Child): Mode => ({
  ...execution.mode,
  within: execution,
  heldAs: undefined,
  backoff: () => undefined
})
