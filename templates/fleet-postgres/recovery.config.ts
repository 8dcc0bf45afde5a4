import { Operator } from "effect-recovery/operate"
import { Resize } from "./src/resize.js"
import { storage } from "./src/storage.js"

// What `npx recovery` opens and may execute.
export default Operator.define({ storage, workflows: [Resize] })
