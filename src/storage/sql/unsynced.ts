import * as Exit from "effect/Exit"
import type { Entry, Lease } from "../Store.js"
import type { Waiting } from "./batches.js"
import type { Append } from "./lines.js"

/**
 * The lines of each lease whose commits did not wait for the disk. A process outlives a crash of its server, which takes
 * such lines, and later lines of the run may be about them. So each later append asks for the last one, and writes those
 * that are missing once more.
 */
export const makeUnsynced = () => {
  const lines = new WeakMap<Lease, ReadonlyArray<Entry>>()
  return {
    of: (lease: Lease): ReadonlyArray<Entry> => lines.get(lease) ?? [],
    guarded: (request: Append): Append => ({ ...request, after: lines.get(request.lease)?.at(-1)?.seq }),
    /** The lines are written. A synced commit takes with it what was committed before. */
    acknowledge: ({ answer, request: { entries, lease } }: Waiting<Append>, isSynced: boolean): void => {
      if (isSynced) lines.delete(lease)
      else lines.set(lease, [...(lines.get(lease) ?? []), ...entries])
      answer(Exit.void)
    },
    /** The journal of the run begins again without them. */
    forget: (lease: Lease): void => void lines.delete(lease)
  }
}
