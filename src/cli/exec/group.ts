import { type ChildProcess, spawn, spawnSync } from "node:child_process"
import { isGroupGone } from "../../host/owner.js"
import { exitCodeOf, receive } from "../signals.js"

const isPosix = process.platform !== "win32"

/** How a command ended. */
export type Ending =
  | { readonly _tag: "Exited"; readonly code: number }
  | { readonly _tag: "Signalled"; readonly signal: NodeJS.Signals; readonly code: number }
  /** It could not be started. */
  | { readonly _tag: "NotStarted"; readonly error: NodeJS.ErrnoException }

export interface Settings {
  /** Milliseconds from the first signal until SIGKILL. */
  readonly killAfter: number
  /** A descriptor that all processes of the command inherit. */
  readonly inherited: number | undefined
}

/** Shells and scripts use the low descriptors and those from 63 and 255 downwards; the command finds the inherited one at this. */
const inheritedDescriptor = 47

const pause = (millis: number) => new Promise<void>((resolve) => setTimeout(resolve, millis))

/**
 * A command in a session and a process group of its own, with this program's
 * input and output. Signals go to the group: to the command and to all processes
 * that it has started and that have not left the group.
 */
export class Group {
  readonly ended: Promise<Ending>
  private readonly child: ChildProcess | undefined
  private readonly settings: Settings
  private isOver = false
  private isEnding = false
  private deadline: number | undefined

  constructor([name, ...args]: readonly [name: string, ...args: ReadonlyArray<string>], settings: Settings) {
    this.settings = settings
    const unused = Array.from({ length: inheritedDescriptor - 3 }, () => "ignore" as const)
    const stdio = ["inherit", "inherit", "inherit"] as const
    try {
      const child = spawn(name, args, {
        detached: isPosix,
        stdio: settings.inherited === undefined ? [...stdio] : [...stdio, ...unused, settings.inherited]
      })
      this.child = child
      this.ended = new Promise((resolve) => {
        child.once("error", (error) => resolve({ _tag: "NotStarted", error }))
        child.once("exit", (code, signal) =>
          resolve(
            signal === null
              ? { _tag: "Exited", code: code ?? 0 }
              : { _tag: "Signalled", signal, code: exitCodeOf(signal) }
          )
        )
      })
    } catch (error) {
      // Node throws some failures of the system call, always as errors with a code.
      this.ended = Promise.resolve({ _tag: "NotStarted", error: error as NodeJS.ErrnoException })
    }
  }

  /** The id of the group, which is that of the command's own process. */
  get id(): number | undefined {
    return this.child?.pid
  }

  /** Whether no process of the group is left. Zombies do not count: they have ended. */
  private isEmpty(): boolean {
    const { child, id } = this
    if (id === undefined || child === undefined) return true
    this.isOver ||= isPosix ? isGroupGone(id) : child.exitCode !== null || child.signalCode !== null
    return this.isOver
  }

  /** Signals the group. Its id may belong to another group once it is empty, so nothing is sent then. */
  signal(signal: NodeJS.Signals): void {
    const { id } = this
    if (id === undefined || this.isEmpty()) return
    if (!isPosix) {
      if (signal !== "SIGINT") spawnSync("taskkill", ["/pid", String(id), "/t", "/f"], { stdio: "ignore" })
      return
    }
    try {
      process.kill(-id, signal)
    } catch {
      // It has ended meanwhile, or belongs to another user: then only its end can be awaited.
    }
  }

  /** Sends the signal that begins its end; SIGKILL follows after the grace period. */
  private beginEnd(signal: NodeJS.Signals): void {
    this.isEnding = true
    this.deadline ??= performance.now() + this.settings.killAfter
    this.signal(signal)
    // A stopped process would not see the signal.
    this.signal("SIGCONT")
  }

  /**
   * Passes on the signals of this program, until the returned function is called.
   * The first one that ends this program begins the end of the group, the second
   * one sends SIGTERM, and the third one SIGKILL.
   */
  receive(): () => void {
    return receive((signal, ending) => {
      if (ending === 0) this.signal(signal)
      else if (ending === 1) this.beginEnd(signal)
      else this.beginEnd(ending === 2 ? "SIGTERM" : "SIGKILL")
    })
  }

  /** Ends all processes of the group, unless a signal does so already, and waits for their end. */
  async end(): Promise<void> {
    if (!this.isEnding) this.beginEnd("SIGTERM")
    let millis = 1
    while (!this.isEmpty()) {
      if (performance.now() >= (this.deadline ?? 0)) this.signal("SIGKILL")
      await pause(millis)
      millis = Math.min(millis * 2, 50)
    }
    await this.ended
  }
}
