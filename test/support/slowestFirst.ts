import * as path from "node:path"
import { BaseSequencer, type TestSpecification } from "vitest/node"

/** Their tests wait for processes or for the compiler. By their size, most of these files would be among the last. */
const slow = ["test/process/", "test/cli/", "test/operate/cli", "test/examples/", "test/editor.", "test/options."]

/**
 * Starts slow files first, so that no process of the pool waits at the end for a file that another one began late.
 * Vitest orders by the durations of earlier runs, which a fresh clone lacks, and otherwise by size.
 */
export class SlowestFirst extends BaseSequencer {
  override async sort(files: Array<TestSpecification>): Promise<Array<TestSpecification>> {
    const { root } = this.ctx.config
    const isSlow = ({ moduleId }: TestSpecification) => {
      const file = path.relative(root, moduleId).replaceAll(path.sep, "/")
      return slow.some((start) => file.startsWith(start))
    }
    const sorted = await super.sort(files)
    return [...sorted.filter(isSlow), ...sorted.filter((file) => !isSlow(file))]
  }
}
