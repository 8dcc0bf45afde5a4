import * as Command from "@effect/cli/Command"
import * as Effect from "effect/Effect"
import { flag, optional, text, textOr } from "../options.js"
import { about } from "../render/overview.js"

const storage = "a SQLite file, or the postgres:// address of a server"

export const copyCommand = Command.make(
  "copy",
  {
    from: text("from", `The storage to read: ${storage}. It is opened read-only`),
    to: text("to", `The storage to write: ${storage}. Its tables are created if they are missing`),
    fromPrefix: textOr("from-prefix", "What the names of the tables to read begin with", "recovery_"),
    toPrefix: textOr("to-prefix", "What the names of the tables to write begin with", "recovery_"),
    fromSchema: optional("from-schema", "The Postgres schema to read. Default: the first of the search path"),
    toSchema: optional("to-schema", "The Postgres schema to write. Default: the first of the search path"),
    json: flag("json", "Print JSON, for scripts")
  },
  ({ from, fromPrefix, fromSchema, json, to, toPrefix, toSchema }) =>
    // Most of the library is loaded only here, so that --help starts fast.
    Effect.flatMap(
      Effect.promise(() => import("./copy.js")),
      ({ copy }) =>
        copy({
          from: { option: "--from", name: from, prefix: fromPrefix, schema: fromSchema },
          to: { option: "--to", name: to, prefix: toPrefix, schema: toSchema },
          json
        })
    )
).pipe(Command.withDescription(about.copy))
