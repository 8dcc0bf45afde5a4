import * as fs from "node:fs"
import * as Clock from "effect/Clock"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import type { Operator } from "../../operate/Operator.js"
import * as OperatorClient from "../../operate/OperatorClient.js"
import type { Tables } from "../../storage/sqlite/migrations.js"
import { addressOf, type Common, configOf, databaseFile, open } from "../ask.js"
import { operatorFrom } from "../config.js"
import { type Ended, ended } from "../exit.js"
import { inCommands } from "../inCommands.js"
import { bold, type Screen, screenOf } from "../render/screen.js"
import { wrap } from "../render/width.js"
import { shownAddress } from "../serverAddress.js"
import { creators, tablesOfFile, tablesOfServer } from "../tables.js"
import { type Finding, failing, fine, warning } from "./finding.js"
import { clockOfFile, clockOfServer, drivers, packages, permissions, runtime, space } from "./machine.js"

/** What the version of the tables says. */
const tables = ({ known, reader, version }: Tables): Finding => {
  if (version === 0) return fine("tables", `There are none yet. ${creators}`)
  if (Math.min(reader, version) > known) {
    return failing(
      "tables",
      `The tables have version ${version}, and this library knows ${known}`,
      "Use the version of effect-recovery that wrote them, or a later one."
    )
  }
  return version < known
    ? warning(
        "tables",
        `The tables have version ${version}, and this library has ${known}`,
        "The next command that opens them migrates them. Stop programs with an older library before that."
      )
    : fine("tables", `Version ${version}`)
}

/** Asks a storage through its operator, which opens it as the program does. */
const opened = (operator: Operator, where: string): Effect.Effect<ReadonlyArray<Finding>> =>
  Effect.gen(function* () {
    const before = yield* Clock.currentTimeMillis
    const reply = yield* OperatorClient.ask<"StorageTime">(operator, { _tag: "StorageTime" })
    const after = yield* Clock.currentTimeMillis
    return reply.ok
      ? [fine("storage", `The storage of ${where} opens`), clockOfServer(before, reply.value.now, after)]
      : [failing("storage", inCommands(reply.message))]
  })

const closing = (operator: Effect.Effect<Operator, Ended>) =>
  Effect.acquireRelease(operator, (operator) => Effect.promise(() => operator.close()))

const ofFile = (file: string): Effect.Effect<ReadonlyArray<Finding>> =>
  Effect.gen(function* () {
    const found = permissions(file)
    const now = yield* Clock.currentTimeMillis
    const read = Effect.match(tablesOfFile(file), {
      onFailure: ({ message }) => failing("tables", message),
      onSuccess: tables
    })
    const inFile = found.status !== "failing" && fs.existsSync(file) ? [yield* read] : []
    return [found, ...inFile, clockOfFile(file, now), space(file)]
  })

/** Opened only with tables of this version: another opening would change them. */
const ofServer = (given: Common, address: URL) =>
  Effect.gen(function* () {
    const where = shownAddress(address)
    const found = yield* Effect.either(tablesOfServer(address, where))
    if (found._tag === "Left") return [failing("storage", found.left.message)]
    const finding = tables(found.right)
    if (found.right.version === 0 || finding.status !== "ok") return [finding]
    return [finding, ...(yield* opened((yield* open({ ...given, readonly: true })).operator, where))]
  })

const ofDatabase = (given: Common) =>
  Effect.flatMap(addressOf(given.database), (address) =>
    address === undefined ? Effect.flatMap(databaseFile(given.database), ofFile) : ofServer(given, address)
  )

const ofConfig = (file: string) =>
  Effect.gen(function* () {
    const operator = yield* closing(operatorFrom(file))
    return [fine("configuration", `${file} loads`), ...(yield* opened(operator, file))]
  })

/** What a refusal of the command line says, as the finding of the check that met it. */
const orFinding = <R>(check: string, findings: Effect.Effect<ReadonlyArray<Finding>, Ended, R>) =>
  Effect.catchAll(findings, ({ message }) => Effect.succeed([failing(check, message)]))

const ofStorage = (given: Common) =>
  Effect.gen(function* () {
    const config = yield* Effect.either(configOf(given))
    if (config._tag === "Left") return [failing("configuration", config.left.message)]
    if (config.right !== undefined) return yield* orFinding("configuration", ofConfig(config.right))
    const why = given.database === undefined ? "There is none" : "None is used beside --database"
    return [
      fine("configuration", `${why}: records can be read and written, and no workflow can be executed`),
      ...(yield* orFinding("database", ofDatabase(given)))
    ]
  })

const titleWidth = Math.max(..."ok,warning,failing".split(",").map((status) => status.length)) + 2

/** A paragraph for each finding: its status, its check, what was found, and what to do. */
const view = (screen: Screen, findings: ReadonlyArray<Finding>): string =>
  findings
    .flatMap(({ advice, check, message, status }) => {
      const room = screen.width === undefined ? undefined : Math.max(1, screen.width - titleWidth)
      const texts = [`${check}: ${message}`, ...(advice === undefined ? [] : [advice])]
      const [first = "", ...more] = texts.flatMap((text) => wrap(text, room))
      const title = status.padEnd(titleWidth)
      return [
        `${status === "ok" ? title : bold(screen, title)}${first}`,
        ...more.map((line) => " ".repeat(titleWidth) + line)
      ]
    })
    .join("\n")

/** Checks what programs and commands need here, changes nothing, and fails if a check fails. */
export const doctor = (given: Common): Effect.Effect<void, Ended> =>
  Effect.gen(function* () {
    const findings = [runtime(process.versions), yield* drivers, yield* packages, ...(yield* ofStorage(given))]
    yield* Console.log(given.json ? JSON.stringify(findings, null, 2) : view(screenOf(process.stdout), findings))
    const failed = findings.filter(({ status }) => status === "failing").length
    if (failed > 0) return yield* ended("Failed", `${failed} of ${findings.length} checks fail.`)
  }).pipe(Effect.scoped)
