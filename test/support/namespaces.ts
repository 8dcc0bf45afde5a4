import * as childProcess from "node:child_process"

/** Runs a command inside of a namespace. */
export type Enter = ReadonlyArray<string>

const succeeds = (command: string, args: ReadonlyArray<string>): boolean =>
  childProcess.spawnSync(command, args, { stdio: "ignore", timeout: 10_000 }).status === 0

/** Why this machine has no network namespaces for its users, as a part of a title; `undefined` if it has. */
export const noNamespaces: string | undefined =
  process.platform !== "linux"
    ? "skipped: network namespaces are those of Linux"
    : succeeds("unshare", ["-Urn", "ip", "link", "add", "one", "type", "veth", "peer", "name", "other"])
      ? undefined
      : "skipped: this user may not create network namespaces, or `ip` is missing"

const started = async (command: string, args: ReadonlyArray<string>): Promise<childProcess.ChildProcess> => {
  // Its input is a pipe that only this process holds: it ends with this process, however that ends.
  const child = childProcess.spawn(command, [...args, "sh", "-c", "echo in; cat > /dev/null"], {
    stdio: ["pipe", "pipe", "inherit"]
  })
  await new Promise((resolve, reject) => {
    child.stdout?.once("data", resolve)
    child.once("exit", () => reject(new Error(`${command} ${args.join(" ")} failed`)))
  })
  return child
}

const insideOf = ({ pid }: childProcess.ChildProcess): Enter => [
  "nsenter",
  "-t",
  `${pid}`,
  "-U",
  "-n",
  "--preserve-credentials"
]

/** A machine: its own network, with one cable to the server's machine. */
export interface Machine {
  readonly enter: Enter
  /** Packets of both directions are dropped. Neither side notices. */
  readonly cut: () => void
}

/** The network of a server's machine, and cables to others. */
export class Lan {
  readonly addresses = "10.77.0.0/16"
  private readonly holder: childProcess.ChildProcess
  private readonly machines: Array<childProcess.ChildProcess> = []

  private constructor(holder: childProcess.ChildProcess) {
    this.holder = holder
  }

  static async make(): Promise<Lan> {
    const lan = new Lan(await started("unshare", ["-Urn"]))
    lan.run(insideOf(lan.holder), "ip link set lo up")
    return lan
  }

  private run(enter: Enter, command: string): void {
    const [program = "", ...args] = [...enter, ...command.split(" ")]
    const { status, stderr } = childProcess.spawnSync(program, args, { encoding: "utf8" })
    if (status !== 0) throw new Error(`${command}: ${stderr}`)
  }

  /** Where the server runs. It refuses to run as root, so it has another user there, who is the user of the tests outside. */
  get server(): Enter {
    return [...insideOf(this.holder), "unshare", "-U", "--map-user=1000", "--map-group=1000"]
  }

  /** The addresses of the server's machine and of the new one are `10.77.n.1` and `10.77.n.2`. */
  async connect(): Promise<Machine & { readonly serverAddress: string }> {
    const near = insideOf(this.holder)
    const child = await started(near[0] ?? "", [...near.slice(1), "unshare", "-n"])
    this.machines.push(child)
    const far = insideOf(child)
    const n = this.machines.length
    this.run(near, `ip link add near${n} type veth peer name far${n}`)
    this.run(near, `ip link set far${n} netns ${child.pid}`)
    this.run(near, `ip addr add 10.77.${n}.1/24 dev near${n}`)
    this.run(near, `ip link set near${n} up`)
    this.run(far, `ip addr add 10.77.${n}.2/24 dev far${n}`)
    this.run(far, `ip link set far${n} up`)
    // Frames to a machine that is not there: the routes stay, so no socket hears of it.
    const lose = (enter: Enter, side: string, host: number) =>
      this.run(enter, `ip neigh replace 10.77.${n}.${host} lladdr 02:00:00:00:00:01 nud permanent dev ${side}${n}`)
    const cut = () => {
      lose(near, "near", 2)
      lose(far, "far", 1)
    }
    return { enter: far, cut, serverAddress: `10.77.${n}.1` }
  }

  close(): void {
    for (const child of [...this.machines, this.holder]) child.stdin?.end()
  }
}
