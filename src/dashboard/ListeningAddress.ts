/**
 * Where a dashboard listens: the check that the command line and the layers
 * make, and how an address is shown.
 */
import * as net from "node:net"
import type * as HttpServer from "@effect/platform/HttpServer"

const loopback = new net.BlockList()
loopback.addSubnet("127.0.0.0", 8, "ipv4")
loopback.addAddress("::1", "ipv6")

/** Whether only programs of this machine reach the address. */
const isLoopback = (host: string): boolean => {
  const version = net.isIP(host)
  return version === 0 ? host === "localhost" : loopback.check(host, version === 4 ? "ipv4" : "ipv6")
}

/** Whether it means every address of this machine. */
const isEveryAddress = (host: string): boolean => host === "0.0.0.0" || host === "::"

/**
 * Why a dashboard must not listen there; undefined if it may. An empty host means every address of this machine, and
 * the token is sent as it is, so what other machines reach must be allowed explicitly.
 */
export const hostRefusal = (host: string, isNetworkAllowed: boolean): "Empty" | "Network" | undefined => {
  if (host.trim() === "") return "Empty"
  return isNetworkAllowed || isLoopback(host) ? undefined : "Network"
}

const inBrackets = (host: string): string => (host.includes(":") ? `[${host}]` : host)

/** The address that is bound, such as `127.0.0.1:4780`. */
export const shownAddress = (address: HttpServer.Address): string => {
  if (address._tag === "UnixAddress") return address.path
  const { hostname, port } = address
  return `${inBrackets(hostname)}:${port}${isEveryAddress(hostname) ? " (every address of this machine)" : ""}`
}

/** A URL that a browser on this machine can open. */
export const urlOf = (address: HttpServer.Address): string => {
  if (address._tag === "UnixAddress") return `unix:${address.path}`
  const { hostname, port } = address
  return `http://${isEveryAddress(hostname) ? "127.0.0.1" : inBrackets(hostname)}:${port}`
}
