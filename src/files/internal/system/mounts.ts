import * as path from "node:path"
import * as Effect from "effect/Effect"
import type { Call, Calls } from "./calls.js"

/** Where file systems and bind mounts begin. The files of one mount can be renamed to one another. */
export class Mounts {
  private readonly points: ReadonlySet<string>

  constructor(points: ReadonlySet<string>) {
    this.points = points
  }

  isPoint(at: string): boolean {
    return this.points.has(at)
  }

  /** The mount point that a path is under, or is. */
  of(at: string): string {
    let folder = at
    while (!this.points.has(folder) && path.dirname(folder) !== folder) folder = path.dirname(folder)
    return folder
  }

  /** A mount point inside the folder. */
  inside(folder: string): string | undefined {
    const start = folder.endsWith(path.sep) ? folder : `${folder}${path.sep}`
    return [...this.points].find((point) => point.startsWith(start))
  }
}

/** The mounts that this process sees. Only Linux lists them: bind mounts have the device of what they show. */
export const readMounts = (calls: Calls): Call<Mounts | undefined> =>
  process.platform !== "linux"
    ? Effect.succeed(undefined)
    : Effect.match(calls.readFile("/proc/self/mountinfo"), {
        // Without /proc only devices tell file systems apart.
        onFailure: () => undefined,
        onSuccess: (bytes) => new Mounts(new Set(bytes.toString("utf8").split("\n").flatMap(pointOf)))
      })

/** The fifth field, in which spaces and backslashes are octal numbers. */
const pointOf = (line: string): ReadonlyArray<string> => {
  const point = line.split(" ")[4]
  return point === undefined
    ? []
    : [point.replace(/\\(\d{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)))]
}
