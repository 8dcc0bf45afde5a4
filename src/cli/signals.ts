import * as os from "node:os"

/** They end a program by default. `exec` ends its command and restores its files first. */
const endingSignals: ReadonlyArray<NodeJS.Signals> = ["SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM"]

/** `exec` passes them on. Node keeps those of faults, of its profiler and of ended children for itself. */
const passedSignals: ReadonlyArray<NodeJS.Signals> = [
  ...(["SIGUSR1", "SIGUSR2", "SIGPIPE", "SIGALRM", "SIGVTALRM", "SIGCONT", "SIGWINCH"] as const),
  ...(["SIGURG", "SIGIO", "SIGPWR", "SIGXCPU", "SIGXFSZ"] as const)
]

/** The exit code of a program that a signal ended, as in shells. */
export const exitCodeOf = (signal: NodeJS.Signals): number => 128 + (os.constants.signals[signal] ?? 0)

/** Receives a signal. `ending` counts the signals that end the program, this one included; 0 for the others. */
export type Receiver = (signal: NodeJS.Signals, ending: number) => void

const receivers = new Set<Receiver>()

/** Passes the signals that `exec` receives to the function. Returns a function that stops it. */
export const receive = (receiver: Receiver): (() => void) => {
  receivers.add(receiver)
  return () => receivers.delete(receiver)
}

let first: NodeJS.Signals | undefined
let endings = 0

/** The first signal that ends this program; undefined before there is one. */
export const endingSignal = (): NodeJS.Signals | undefined => first

const dispatch = (signal: NodeJS.Signals, ending: number): void => {
  for (const receiver of receivers) receiver(signal, ending)
}

/** The first SIGINT or SIGTERM interrupts the program; the next one has its default action. */
export const listen = (interrupt: () => void): void => {
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.once(signal, () => {
      first ??= signal
      interrupt()
    })
  }
}

/** Takes over every signal that a process can handle. Only the first one that ends the program interrupts it. */
export const supervise = (interrupt: () => void): void => {
  for (const signal of passedSignals) process.on(signal, () => dispatch(signal, 0))
  for (const signal of endingSignals) {
    process.on(signal, () => {
      dispatch(signal, ++endings)
      if (first !== undefined) return
      first = signal
      interrupt()
    })
  }
  process.on("SIGTSTP", stop)
}

/** Stops the command, then this program. */
const stop = (): void => {
  dispatch("SIGSTOP", 0)
  process.off("SIGTSTP", stop)
  // Returns when the program is continued. The system ignores the signal if no shell could continue it.
  process.kill(process.pid, "SIGTSTP")
  process.on("SIGTSTP", stop)
  dispatch("SIGCONT", 0)
}

/** Ends this program as the signal does by default, so that its parent sees which signal ended it. */
export const endBy = (signal: NodeJS.Signals): void => {
  process.exitCode = exitCodeOf(signal)
  for (const one of [...endingSignals, ...passedSignals]) process.removeAllListeners(one)
  process.kill(process.pid, signal)
  // The system ignores signals that the first process of a container sends to itself.
  process.exit()
}
