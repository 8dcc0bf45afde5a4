import * as Args from "@effect/cli/Args"
import * as Command from "@effect/cli/Command"
import * as HelpDoc from "@effect/cli/HelpDoc"
import * as Options from "@effect/cli/Options"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { CommandArguments } from "./exec/command.js"
import { integer, text } from "./options.js"
import { about } from "./render/overview.js"

/** The description of a command, which the overview of all commands shows, too. */
export const described = <N extends keyof typeof about>(name: N) => Command.withDescription(about[name])

/** An argument. The parser takes an option that it does not know for one, unless it stands after `--`. */
export const argument = (name: string) =>
  Args.text({ name }).pipe(
    Args.mapEffect((given) =>
      Effect.flatMap(CommandArguments, ({ rest }) =>
        given.startsWith("--") && !rest.includes(given)
          ? Effect.fail(
              HelpDoc.p(
                `The option '${given}' is not known, or is given twice. Add --help for the options of the command.`
              )
            )
          : Effect.succeed(given)
      )
    )
  )

export const optionalArgument = (name: string) => argument(name).pipe(Args.optional, Args.map(Option.getOrUndefined))

export const id = argument("id")
export const optionalId = optionalArgument("id")

export const limit = integer("limit", "How many at most", 50, { min: 1, max: 1_000 })

/** Who acts; empty for the user. */
export const by = text("by", "Who acts, for the record. Default: the user").pipe(Options.withDefault(""))
