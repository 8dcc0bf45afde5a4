import { empty, type Loser, type Node, type RaceNode, seq, step } from "./program.js"

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
  "a race stays decided by an end that its branch comes to only after a pause": {
    _tag: "Tie",
    name: "",
    how: "race",
    nodes: [
      seq({ _tag: "Handle", node: step({ millis: 2, fault: "fails" }) }, step()),
      seq({ _tag: "Pause", how: "sleep", millis: 2 }, step())
    ]
  },
  "a race stays decided whose branches wait for their losers": {
    _tag: "Tie",
    name: "",
    how: "raceFirst",
    nodes: [step({ millis: 8 }), step({ millis: 4 }), step({ millis: 4 })]
  },
  "a transaction waits for the branches that are interrupted with it": seq(
    race({
      how: "timeout",
      losers: [
        loser({
          around: "transaction",
          before: race({
            how: "raceFirst",
            winner: step({ millis: 9, undo: true }),
            losers: [loser({ before: step(), long: "pause", around: "ensuring" })]
          })
        })
      ]
    }),
    step()
  ),
  "a fiber that is forked before a step of the body begins before the step ends": seq(
    race({
      how: "interrupt",
      winner: step(),
      losers: [loser({ before: step({ undo: true }), long: "pause", around: "transaction" })]
    }),
    step()
  ),
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
  "a branch beside a wait goes on": {
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
  "a transaction beside a defect is not cut short for good": {
    _tag: "All",
    how: "all",
    bound: 0,
    nodes: [step({ fault: "dies" }), { _tag: "Transaction", name: "", node: seq(step({ undo: true }), slow) }]
  }
}
