/** Answers what an operator asks, of one database, and tells how long it took. */
import { Operator } from "../../dist/node/operate.js"
import { SqliteStorage } from "../../dist/node/sqlite.js"

const [filename, ...asked] = process.argv.slice(2)
const operator = Operator.define({ storage: SqliteStorage.layer({ filename }) })()
const times = {}
for (const request of asked.map((text) => JSON.parse(text))) {
  const all = []
  for (let i = 0; i < 25; i++) {
    const started = performance.now()
    const reply = await operator.ask(request)
    all.push(performance.now() - started)
    if (!reply.ok) throw new Error(reply.message)
  }
  times[request._tag] = all.sort((a, b) => a - b)[12]
}
await operator.close()
console.log(JSON.stringify(times))
