import { Operator } from "effect-recovery/operate"
import { PlaceOrder } from "../orders.js"
import { storage } from "./database.js"

export default Operator.define({ storage, workflows: [PlaceOrder], layer: storage })
