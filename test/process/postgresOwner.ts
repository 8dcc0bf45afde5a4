/** Starts a Postgres server and waits. Prints its port and folder. */
import { PostgresServer } from "../support/postgresServer.js"

const server = await PostgresServer.start()
console.log(`started ${server.address.port} ${server.socketFolder}`)
process.stdin.on("end", () => void server.close()).resume()
