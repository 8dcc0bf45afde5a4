import type { Cost } from "./server.js"

/** What statements cost a Postgres server, in milliseconds. */
export const postgres: Readonly<Record<string, Cost>> = {
  claimDue: { base: 0.6, row: 0.1, disk: 0.4 },
  append: { base: 0.3, row: 0.04, disk: 0.4 },
  enqueue: { base: 0.3, row: 0.1, disk: 0.4 },
  finish: { base: 0.3, row: 0.1, disk: 0.4 },
  suspend: { base: 0.3, row: 0, disk: 0.4 },
  signal: { base: 0.3, row: 0, disk: 0.4 },
  release: { base: 0.3, row: 0, disk: 0.4 },
  renew: { base: 0.3, row: 0.05, disk: 0.4 }
}
