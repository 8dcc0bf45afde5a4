/** The program before the roll-out. */
import { before } from "./rolloutJobs.js"
import { work } from "./rolloutWorker.js"

const [folder = ""] = process.argv.slice(2)
const { Order, Parcel } = before(folder)

work(folder, [Order, Parcel])
