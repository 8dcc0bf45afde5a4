import { execFileSync } from "node:child_process"

/** The command line and the page, as they are published: some tests run them as they are. */
export default () => {
  for (const tool of ["tools/bundle-page.mjs", "tools/bundle-cli.mjs"]) execFileSync(process.execPath, [tool])
}
