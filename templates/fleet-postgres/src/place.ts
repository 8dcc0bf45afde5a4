import { Console, Effect } from "effect"
import { Workflow } from "effect-recovery"
import { Resize } from "./resize.js"
import { storage } from "./storage.js"

const images = Array.from({ length: 10 }, (_, i) => `image-${i}`)

// Puts runs on record and waits for their outcomes, in any process that reaches the database.
const program = Effect.gen(function* () {
  yield* Effect.forEach(images, (image) => Workflow.start(Resize, { id: image, input: image }))
  const small = yield* Effect.forEach(images, (image) => Workflow.join(Resize, image), { concurrency: 5 })
  yield* Console.log(small.join(" "))
})

Effect.runPromise(Effect.provide(program, storage))
