/** The program after the roll-out: it keeps the parcels of the release before, and adopts its orders. */
import { after, before } from "./rolloutJobs.js"
import { work } from "./rolloutWorker.js"

const [folder = ""] = process.argv.slice(2)
const { Order, Parcel } = after(folder)

work(folder, [Order, Parcel, before(folder).Parcel])
