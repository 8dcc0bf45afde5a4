import { execFileSync } from "node:child_process"

/** Builds the command line and the page: some tests run them as published. */
export default () => {
  execFileSync(process.execPath, ["tools/bundle.mjs"])
}
