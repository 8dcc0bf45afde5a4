import { type Case, empty, type Loser, type Node, named, type RaceNode, type Stop, seq, step } from "./program.js"

const loser = (options: Partial<Loser> = {}): Loser => ({
  before: empty,
  long: "step",
  around: "nothing",
  name: "",
  after: empty,
  ...options
})

const race = (options: Partial<RaceNode>): RaceNode => ({
  _tag: "Race",
  how: "raceAll",
  winner: empty,
  losers: [loser()],
  at: 0,
  ...options
})

const slow = step({ millis: 5 })

/** A small program for each promise, by its name. */
export const directed: Readonly<Record<string, Node>> = {
  "a race that was decided stays decided": seq(race({ winner: step(), losers: [loser({ before: slow })] }), step()),
  "a race that was decided by work of the body stays decided": seq(race({}), step()),
  "a race that a pause of the body has won stays decided": seq(
    race({ winner: { _tag: "Pause", how: "sleep", millis: 5 } }),
    step({ millis: 2 })
  ),
  "a race in which a loser has begun several steps stays decided": seq(
    race({
      winner: { _tag: "Pause", how: "sleep", millis: 5 },
      losers: [loser({ before: step() }), loser({ before: seq(step(), step()) })]
    }),
    step({ millis: 2 })
  ),
  "a time limit that has passed stays passed": seq(race({ how: "timeout" }), step()),
  "a race of sleeps stays decided": seq(
    race({
      how: "race",
      winner: { _tag: "Sleep", name: "", millis: 5 },
      losers: [loser({ long: "sleep", after: step() })]
    }),
    step()
  ),
  "a fiber that the program interrupted stays interrupted": seq(
    race({ how: "interrupt", winner: step(), losers: [loser({ before: step() })] }),
    step()
  ),
  "a branch that fails stops the others for good": seq(
    { _tag: "Handle", node: race({ how: "failFast", winner: step(), losers: [loser({ before: step() })] }) },
    step()
  ),
  "a race that only timing decides stays decided": seq({
    _tag: "Tie",
    name: "",
    how: "raceAll",
    nodes: [seq(step({ millis: 3 }), step()), step({ millis: 3 }), { _tag: "Sleep", name: "", millis: 3 }]
  }),
  "what cannot be interrupted takes its time": seq(
    { _tag: "Use", first: step({ fault: "attempts", times: 1 }), node: empty, last: step() },
    step()
  ),
  "a loser's transaction is compensated once": seq(
    race({
      winner: slow,
      losers: [loser({ before: seq(step({ undo: true }), step({ undo: true })), around: "transaction" })]
    }),
    step()
  ),
  "a branch beside a wait continues": {
    _tag: "Meet",
    name: "",
    node: seq({ _tag: "Pause", how: "sleep", millis: 9 }, { _tag: "Pause", how: "promise", millis: 0 }),
    last: step()
  },
  "a retry beside a wait is made": {
    _tag: "Meet",
    name: "",
    node: { _tag: "Recover", strategy: "retry", times: 1, node: step({ fault: "uses", times: 1 }), other: empty },
    last: step()
  },
  "a finalizer runs once the work is done": seq(
    { _tag: "Use", first: step(), node: seq(slow, step({ fault: "dies" })), last: step() },
    { _tag: "Ensuring", how: "onExit", node: slow, last: step() },
    step()
  ),
  "a failure beside an interruption leaves its finalizer to the resume": {
    _tag: "Use",
    first: step(),
    node: step({ millis: 5, fault: "fails" }),
    last: step()
  },
  "a transaction that fails beside an interruption leaves its finalizer to the resume": {
    _tag: "Transaction",
    name: "",
    node: {
      _tag: "Ensuring",
      how: "ensuring",
      node: step({ millis: 5, fault: "fails", undo: true }),
      last: step({ millis: 4 })
    }
  },
  "a transaction beside a defect is not cut short for good": {
    _tag: "All",
    how: "all",
    bound: 0,
    nodes: [step({ fault: "dies" }), { _tag: "Transaction", name: "", node: seq(step({ undo: true }), slow) }]
  }
}

const pause = (millis: number): Node => ({ _tag: "Pause", how: "sleep", millis })

const handle = (node: Node): Node => ({ _tag: "Handle", node })

const stop = (kind: Stop["kind"], when: Stop["when"], write: number, outage: number): Stop => ({
  kind,
  when,
  write,
  outage
})

/** A small program, and where its executions are stopped, for promises that one stop does not break. */
export const stopped: Readonly<Record<string, Case>> = {
  "a race stays decided by an end that its branch comes to only after a pause": {
    body: named(
      seq(
        {
          _tag: "Tie",
          name: "",
          how: "race",
          nodes: [
            { _tag: "Signal", name: "", at: 4 },
            seq(handle(step({ millis: 2, fault: "fails" })), step()),
            seq(pause(2), step())
          ]
        },
        step()
      )
    ),
    stops: [stop("crash", "after", 11, 1)],
    by: "caller",
    slowness: []
  },
  "a transaction waits for the branches that are interrupted with it": {
    body: named(
      race({
        winner: race({
          how: "timeout",
          losers: [loser({ before: step({ undo: true }), long: "sleep", around: "transaction" })]
        }),
        losers: [
          loser({ before: step() }),
          loser({
            before: race({
              how: "raceFirst",
              winner: step({ millis: 9, undo: true }),
              losers: [loser({ before: step(), around: "ensuring", after: step() })]
            }),
            long: "pause",
            around: "transaction"
          })
        ]
      })
    ),
    stops: [stop("crash", "before", 1, 0), stop("crash", "before", 18, 19)],
    by: "worker",
    slowness: []
  },
  "what a branch interrupts again takes no longer than it did": {
    body: named(
      seq(race({ how: "timeout", losers: [loser({ before: step({ millis: 8 }), long: "pause" })] }), {
        _tag: "Tie",
        name: "",
        how: "race",
        nodes: [
          step({ millis: 3 }),
          seq(handle(step({ millis: 9, fault: "fails" })), step()),
          seq(handle(step({ millis: 3, fault: "fails" })), step())
        ]
      })
    ),
    stops: [stop("crash", "after", 12, 15), stop("crash", "before", 19, 16)],
    by: "caller",
    slowness: [0, 1]
  },
  "what a branch interrupts again is over no sooner than it was": {
    body: named(
      race({
        how: "failFast",
        winner: {
          _tag: "Tie",
          name: "",
          how: "raceFirst",
          nodes: [seq(handle(step({ millis: 8, fault: "fails" })), step()), step({ millis: 4 }), step({ millis: 4 })]
        },
        losers: [loser({ before: step() })]
      })
    ),
    stops: [stop("crash", "after", 5, 7), stop("crash", "after", 14, 10), stop("interrupt", "before", 4, 7)],
    by: "worker",
    slowness: [3]
  },
  "a rollback that is interrupted while it resumes is resumed again": {
    body: named(
      race({
        how: "race",
        winner: race({
          winner: pause(0),
          losers: [
            loser({ before: step({ millis: 1, undo: true }), long: "sleep", around: "transaction" }),
            loser({ before: step(), long: "sleep", around: "ensuring", after: step({ millis: 9 }) })
          ],
          at: 1
        }),
        losers: [
          loser({ before: seq(step(), step({ millis: 1, undo: true })), long: "pause", around: "transaction" }),
          loser({ long: "sleep" })
        ],
        at: 1
      })
    ),
    stops: [
      stop("interrupt", "after", 2, 14),
      stop("crash", "before", 2, 1),
      stop("crash", "before", 18, 17),
      stop("interrupt", "before", 4, 14)
    ],
    by: "caller",
    slowness: [2, 0, 2]
  },
  "a backoff of a loser that was interrupted is not taken up again": {
    body: named(
      seq(
        {
          _tag: "Tie",
          name: "",
          how: "raceAll",
          nodes: [
            seq(
              handle({
                _tag: "Use",
                first: step({ millis: 2, fault: "attempts", times: 1 }),
                node: step({ millis: 6, fault: "fails" }),
                last: step({ millis: 5 })
              }),
              step()
            ),
            seq(handle(step({ millis: 9, fault: "fails" })), step())
          ]
        },
        step({ millis: 4, fault: "attempts", times: 2 })
      )
    ),
    stops: [],
    by: "worker",
    slowness: [1]
  }
}
