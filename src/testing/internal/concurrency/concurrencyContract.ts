import type { Contract } from "../fixtures.js"
import { concurrentControls } from "./controls.js"
import { fencingContract } from "./fencing.js"
import { concurrentLeases } from "./leases.js"
import { concurrentLocks } from "./locks.js"
import { concurrentOutcomes } from "./outcomes.js"
import { concurrentPlacement } from "./placement.js"
import { concurrentQueues } from "./queues.js"
import { concurrentRecords } from "./records.js"
import { concurrentSignals } from "./signals.js"
import { concurrentSnapshots } from "./snapshots.js"
import { concurrentTransactions } from "./transactions.js"

/**
 * Operations of several callers between any two statements of each other. A store that takes no locks, or reads before
 * it writes, loses one of the many rounds.
 */
export const concurrencyContract: ReadonlyArray<Contract> = [
  concurrentLeases,
  fencingContract,
  concurrentOutcomes,
  concurrentSignals,
  concurrentControls,
  concurrentQueues,
  concurrentPlacement,
  concurrentSnapshots,
  concurrentRecords,
  concurrentLocks,
  concurrentTransactions
]
