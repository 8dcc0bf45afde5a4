import * as fs from "node:fs"
import * as path from "node:path"
import * as Effect from "effect/Effect"

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

/**
 * The mounts that this process sees; undefined where the system does not list them, and only devices tell file systems
 * apart. Bind mounts have the device of what they show. Synchronous, since the list is in memory.
 */
export const readMounts: Effect.Effect<Mounts | undefined> = Effect.sync(() => {
  if (process.platform !== "linux") return undefined
  try {
    return new Mounts(new Set(fs.readFileSync("/proc/self/mountinfo", "utf8").split("\n").flatMap(pointOf)))
  } catch {
    return undefined
  }
})

/** The fifth field, in which spaces and backslashes are octal numbers. */
const pointOf = (line: string): ReadonlyArray<string> => {
  const point = line.split(" ")[4]
  return point === undefined
    ? []
    : [point.replace(/\\(\d{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)))]
}
