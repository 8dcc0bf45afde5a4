import { execFileSync } from "node:child_process"

/** Builds the command line and the page: some tests run them as published. */
export default () => {
  for (const tool of ["tools/bundle-page.mjs", "tools/bundle-cli.mjs"]) execFileSync(process.execPath, [tool])
}
