import { Operator } from "effect-recovery/operate"
import { storage } from "./database.js"
import { Report } from "./report.js"

export default Operator.define({ storage, workflows: [Report] })
