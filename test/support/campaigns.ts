/**
 * How long each campaign lasts: a short seeded part in `npm test`, a bounded part that `.ci/run` adds
 * (`RECOVERY_SOAK=ci`, or `npm run test:soak -- --bounded`), and its full length in `npm run test:soak`.
 * What runs on many storages has a bounded part that is hardly longer than the short one: `.ci/run` is to take 25 minutes.
 * One number is set by its own variable, such as `RECOVERY_KILL_ROUNDS=5000`.
 */
const lengths = {
  /** Runs of twenty steps whose process is killed once or twice. */
  KILL_ROUNDS: { short: 6, ci: 10, full: 1_000 },
  /** Runs of three steps with rows in another database whose process is killed once or twice, for each kind of database. */
  ONCE_KILLS: { short: 2, ci: 10, full: 500 },
  /** Payments in the database of their journal, over each stock client, whose processes are killed around their commits. */
  PAYMENTS: { short: 10, ci: 20, full: 500 },
  /** Steps of the saga that is killed before and after each of its writes. */
  SAGA_STEPS: { short: 1, ci: 2, full: 5 },
  /** A file transaction is killed at every n-th of its system calls. The whole walk in one process is `files/crash.test.ts`. */
  CALL_STRIDE: { short: 7, ci: 2, full: 1 },
  /** A run with children is stopped before and after every n-th of its writes. */
  CHILD_CRASH_STRIDE: { short: 17, ci: 5, full: 1 },
  /** Copies from one storage to another that are killed, again and again, until they have copied everything. */
  COPY_KILLS: { short: 1, ci: 4, full: 60 },
  /** Runs that one copy takes in little memory. */
  COPIED_RUNS: { short: 400, ci: 400, full: 10_000 },
  /** Commands of `exec` that are killed, or whose exec is, once or twice. */
  EXEC_KILLS: { short: 4, ci: 30, full: 500 },
  /** Runs that five workers complete while they are killed and paused. */
  LIVENESS_RUNS: { short: 20, ci: 60, full: 3_000 },
  /** Processes that increment one number. */
  INCREMENT_PROCESSES: { short: 4, ci: 8, full: 8 },
  /** Increments of each of these processes. */
  INCREMENTS: { short: 40, ci: 200, full: 2_500 },
  /** Processes killed while they increment. */
  INCREMENT_KILLS: { short: 5, ci: 24, full: 400 },
  /** Runs of each kind during a roll-out from one version of a program to the next. */
  ROLLOUT_RUNS: { short: 4, ci: 10, full: 200 },
  /** Workers on Postgres that are killed: another one takes their runs. */
  FAILOVER_KILLS: { short: 1, ci: 3, full: 20 },
  /** Runners of a cluster that are killed: others continue their runs. */
  CLUSTER_KILLS: { short: 1, ci: 2, full: 10 },
  /** Runs over three runners of a cluster that are killed and stand still. */
  CLUSTER_RUNS: { short: 30, ci: 60, full: 1_000 },
  /** Runs of three workers that are killed and paused, and whose networks to Postgres fail. */
  PARTITIONED_RUNS: { short: 12, ci: 100, full: 1_000 },
  /** Restarts of a Postgres server under load. */
  SERVER_RESTARTS: { short: 3, ci: 6, full: 200 },
  /** Random workflows compared with their model. A third of them on SQLite, a twentieth on each client of others. */
  MODEL_RUNS: { short: 30, ci: 90, full: 2_000 },
  /** Random workflows that are stopped at random, compared with themselves undisturbed. A third and a twentieth of them as above. */
  REPLAY_RUNS: { short: 40, ci: 300, full: 10_000 },
  /** Workflows that are stopped at each of their writes, on each client of others. */
  REPLAY_DIRECTED: { short: 1, ci: 1, full: 100 },
  /** Random calls, forty at a time, of a store in memory and of one on a file. */
  STORE_CALLS: { short: 12, ci: 60, full: 3_000 },
  /** Columns of a database that are overwritten with text and bytes that do not belong there. */
  JSON_QUERIES: { short: 8, ci: 60, full: 600 },
  DAMAGED_COLUMNS: { short: 20, ci: 200, full: 3_000 },
  /** Random cron expressions around changes of clocks, compared with a walk through all minutes. */
  DUE_TIMES: { short: 20, ci: 100, full: 2_000 },
  /** Random lives of a schedule and its processes, compared with a model. */
  SCHEDULE_LIVES: { short: 3, ci: 60, full: 1_000 },
  /** Random lives of a queue, compared with a model. */
  QUEUE_LIVES: { short: 20, ci: 100, full: 1_000 },
  /** Random lives of shards that move between processes, some of which crash or believe to own what others own. */
  PLACED_LIVES: { short: 4, ci: 60, full: 2_000 },
  /** Runs of fifty keys in one queue whose four workers are killed at random. */
  QUEUED_RUNS: { short: 40, ci: 100, full: 2_000 },
  /** Stock workflows whose processes are killed. */
  STOCK_RUNS: { short: 9, ci: 30, full: 1_000 },
  /** Bytes that are flipped in database files and write-ahead logs. */
  FLIPS: { short: 15, ci: 100, full: 1_000 },
  /** Random calls of a circuit breaker compared with its model, for each trip condition. */
  BREAKER_RUNS: { short: 20, ci: 200, full: 2_000 },
  /** Random calls of four processes that share a circuit breaker. */
  SHARED_BREAKER_RUNS: { short: 8, ci: 40, full: 1_000 },
  /** Races of twenty callers for the lock of a dead process. */
  TAKEOVER_ROUNDS: { short: 60, ci: 1_000, full: 5_000 },
  /** Random file transactions: undisturbed, killed, and without space. */
  FILE_RUNS: { short: 15, ci: 200, full: 5_000 },
  /** Runs that are cancelled, and whose process is killed meanwhile. */
  CANCEL_KILLS: { short: 4, ci: 12, full: 300 },
  /** Seeds of the tests that interrupt callers at random. */
  INTERRUPTION_SEEDS: { short: 2, ci: 5, full: 50 },
  /** Orders of the calls of an operator and workers, some of which die. */
  INTERLEAVINGS: { short: 6, ci: 20, full: 2_000 },
  /** Simulated fleets of workers whose network, store and processes fail. */
  SIMULATED_FLEETS: { short: 20, ci: 500, full: 10_000 },
  /** Simulations of 600 recoveries from which `Strategy.auto` learns. */
  RANKING_SEEDS: { short: 2, ci: 8, full: 40 }
} as const

const soak = process.env["RECOVERY_SOAK"]
if (soak !== undefined && soak !== "ci" && soak !== "full") {
  throw new Error(`RECOVERY_SOAK is "${soak}"; it may be "ci" or "full"`)
}

/**
 * What takes long on every storage runs there in the soak alone, its bounded part included. What has no length, in a file
 * with a campaign, runs in `npm test` alone: the soak does not repeat it.
 */
export const isSoak = soak !== undefined

/** Declares suites without a length, which the soak does not repeat. */
export const unlessSoak = <A extends ReadonlyArray<unknown>>(declare: (...args: A) => void): ((...args: A) => void) =>
  isSoak ? () => {} : declare

/** Whether `npm test` runs a campaign at the same length, so that the bounded part need not repeat it. */
export const isRepeated = (campaign: keyof typeof lengths): boolean =>
  soak === "ci" && lengths[campaign].ci <= lengths[campaign].short

export const lengthOf = (campaign: keyof typeof lengths): number =>
  Number(process.env[`RECOVERY_${campaign}`] ?? lengths[campaign][soak ?? "short"])

/** The seed of a campaign, to run it again as it was: `RECOVERY_SEED=7`. */
export const seedOf = (usual: number): number => Number(process.env["RECOVERY_SEED"] ?? usual)
