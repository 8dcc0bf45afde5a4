import type { Cost } from "./server.js"

/** A write waits for this long for the disk, on a machine with nothing else to do; in milliseconds. */
const disk = 1

/**
 * What statements cost a Postgres 15, as `node tools/simulate.mjs costs` measured it on two busy cores
 * (docs/scale/costs.json).
 */
export const postgres: Readonly<Record<string, Cost>> = {
  find: { base: 0.35, row: 0, disk: 0 },
  journal: { base: 0.15, row: 0, disk: 0 },
  signals: { base: 0.25, row: 0, disk: 0 },
  controls: { base: 0.4, row: 0, disk: 0 },
  notify: { base: 0.3, row: 0, disk: 0 },
  claimDue: { base: 1.9, row: 0.135, disk },
  enqueue: { base: 0.612, row: 0, disk },
  append: { base: 0.714, row: 0.036, disk },
  finish: { base: 0.408, row: 0.092, disk },
  suspend: { base: 0.65, row: 0, disk },
  release: { base: 0.65, row: 0, disk },
  signal: { base: 1.1, row: 0, disk },
  renew: { base: 1.7, row: 0, disk }
}
