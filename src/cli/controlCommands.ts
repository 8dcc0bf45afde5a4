import * as Command from "@effect/cli/Command"
import * as Effect from "effect/Effect"
import type { Request, Tag, Value } from "../operate/OperatorRequests.js"
import { ask, common } from "./ask.js"
import { confirmed } from "./confirm.js"
import { choiceOrFirst, flag, optional, text, userName } from "./options.js"
import { argument, by, described } from "./parameters.js"
import type { about } from "./render/overview.js"
import * as views from "./render/runs.js"
import type { Screen } from "./render/screen.js"
import { commandOn } from "./render/shell.js"

const yes = flag("yes", "Do it without asking")

const parameters = { ...common, run: argument("run"), yes }

/** Also of those below them. */
const children = choiceOrFirst("children", ["cancel", "leave"], "What becomes of its open child runs")

const reason = text("reason", "Why: shown wherever the run is shown")

interface Given {
  readonly run: string
  readonly reason: string
  readonly by: string
}

/** What a command does to a run: as the question before it, as the request, and as what is printed afterwards. */
interface Control<T extends Tag> {
  readonly question: (run: string) => string
  readonly request: (given: Given) => Request<T>
  readonly done: (run: string, reply: Value<T>, screen: Screen) => string
}

const control = <T extends Tag>(name: keyof typeof about, { done, question, request }: Control<T>) =>
  Command.make(name, { ...parameters, reason, by }, ({ run, reason, yes, ...given }) =>
    Effect.zipRight(
      confirmed(yes, question(run)),
      ask(given, request({ run, reason, by: given.by || userName() }), (screen, reply) => done(run, reply, screen))
    )
  ).pipe(described(name))

export const hold = control<"Hold">("hold", {
  question: (run) =>
    `Hold run ${run}? No worker takes it and no further step begins, until it is released. A running attempt may end.`,
  request: (given) => ({ _tag: "Hold", ...given }),
  done: (run, _, screen) => `The run ${run} is on hold, until: ${commandOn(screen, "release", [run])}`
})

export const release = Command.make("release", parameters, ({ run, yes, ...given }) =>
  Effect.zipRight(
    confirmed(yes, `Release run ${run}? A worker continues it if it is due.`),
    ask(given, { _tag: "Release", run }, (_, { released }) =>
      released ? `The run ${run} is released.` : `The run ${run} is not on hold.`
    )
  )
).pipe(described("release"))

/** As `control`, for a command that ends the run. */
const ending = <T extends "Cancel" | "Terminate">(
  name: keyof typeof about,
  {
    done,
    question,
    request
  }: Omit<Control<T>, "request"> & {
    readonly request: (given: Given & { readonly children: "cancel" | "leave" }) => Request<T>
  }
) =>
  Command.make(name, { ...parameters, reason, by, children }, ({ children, run, reason, yes, ...given }) =>
    Effect.zipRight(
      confirmed(yes, question(run)),
      ask(given, request({ run, reason, by: given.by || userName(), children }), (screen, reply) =>
        done(run, reply, screen)
      )
    )
  ).pipe(described(name))

export const cancel = ending<"Cancel">("cancel", {
  question: (run) =>
    `Cancel run ${run}? The compensations of its open transactions run, and it ends as cancelled. It cannot continue.`,
  request: (given) => ({ _tag: "Cancel", ...given }),
  done: (run, { result }) =>
    result === "cancelled"
      ? `The run ${run} is cancelled.`
      : `The run ${run} is to be cancelled. It ends once a worker or its process has run its compensations.`
})

export const terminate = ending<"Terminate">("terminate", {
  question: (run) =>
    `Terminate run ${run}? It ends at once, wherever it runs, and nothing that it did is compensated. Prefer: recovery cancel`,
  request: (given) => ({ _tag: "Terminate", ...given }),
  done: (run) => `The run ${run} has ended as cancelled, without compensations.`
})

export const adopt = Command.make(
  "adopt",
  {
    ...common,
    workflow: argument("workflow"),
    from: text("from", "The version that the runs have"),
    to: optional("to", "The version that they get. Needed only if the configuration has several others"),
    yes
  },
  ({ from, to, workflow, yes, ...given }) =>
    Effect.zipRight(
      confirmed(
        yes,
        `Move the open runs of workflow ${workflow} from version ${from} to ${to === undefined ? "that of the configuration" : `version ${to}`}? Only workers of the new version take them then. Runs whose journal does not fit stay as they are.`
      ),
      ask(given, { _tag: "Adopt", workflow, from, to }, views.adoption, ({ refused }) =>
        refused.length === 0 ? undefined : `Not adopted, and unchanged: ${refused.map(({ run }) => run).join(", ")}`
      )
    )
).pipe(described("adopt"))
