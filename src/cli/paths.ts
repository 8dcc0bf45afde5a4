import * as os from "node:os"
import * as path from "node:path"
import * as Effect from "effect/Effect"
import { type Ended, ended } from "./exit.js"

/** The working folder. It is gone if another process removed it. */
const workingFolder = (): string | undefined => {
  try {
    return process.cwd()
  } catch {
    return undefined
  }
}

const noFolder = (why: string): Ended =>
  ended("Usage", `The working folder does not exist any more, so ${why}`, "NoWorkingFolder")

/** The working folder, or a refusal that says what needs it and what else to do. */
export const requireFolder = (why: string): Effect.Effect<string, Ended> =>
  Effect.suspend(() => {
    const folder = workingFolder()
    return folder === undefined ? noFolder(why) : Effect.succeed(folder)
  })

/** The absolute path of a file that the command line names. */
export const absolute = (file: string): Effect.Effect<string, Ended> =>
  path.isAbsolute(file)
    ? Effect.succeed(path.normalize(file))
    : Effect.map(
        requireFolder(`"${file}" cannot be found in it. Change to another folder, or name the whole path.`),
        (folder) => path.resolve(folder, file)
      )

/** The folder of the user; a container may have none. */
export const homeFolder = (): string | undefined => {
  try {
    return os.homedir()
  } catch {
    return undefined
  }
}
