import * as fs from "node:fs"
import { assert, describe, it } from "vitest"

const root = new URL("../", import.meta.url)
const read = (file: string) => fs.readFileSync(new URL(file, root), "utf8")

/** Code blocks that say which file they come from. */
const blocks = (document: string) =>
  [...read(document).matchAll(/<!-- (examples\/[\w-]+\.ts) -->\n```ts\n([\s\S]*?)```/g)].map(
    ([, file = "", code = ""]) => ({ file, code })
  )

describe("the documents", () => {
  for (const document of ["README.md", "docs/GUIDE.md"]) {
    it(`${document} shows the examples as they are compiled`, () => {
      const found = blocks(document)
      assert.isAbove(found.length, 0)
      for (const { code, file } of found) assert.strictEqual(code, read(file), file)
    })
  }

  it("link only to files that exist", () => {
    for (const document of ["README.md", "docs/GUIDE.md", "docs/ARCHITECTURE.md", "docs/FEATURES.md"]) {
      const folder = new URL(document, root)
      for (const [, link = ""] of read(document).matchAll(/\]\((?!https?:|#)([^)#]+)[^)]*\)/g)) {
        assert.isTrue(fs.existsSync(new URL(link, folder)), `${document}: ${link}`)
      }
    }
  })

  it("the feature map names only modules and tests that exist", () => {
    const files = [...read("docs/FEATURES.md").matchAll(/`((?:src|test|examples|bench)\/[\w./-]+)`/g)]
    assert.isAbove(files.length, 20)
    for (const [, file = ""] of files) assert.isTrue(fs.existsSync(new URL(file, root)), file)
  })
})
