import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { FileTransaction } from "effect-recovery/files"
import type { TestContext } from "vitest"
import { useProgram } from "../support/children.js"
import { inRoot } from "../support/fileTransactions.js"
import { describeMounted, inMounts } from "../support/mounts.js"
import { treeOf } from "../support/tree.js"

const protectAndFail = (root: string, name: string, change: (at: string) => void) =>
  FileTransaction.protect(name).pipe(
    Effect.tap((at) => Effect.sync(() => change(at))),
    Effect.zipRight(Effect.fail("no")),
    FileTransaction.run(root),
    Effect.flip
  )

describe("FileTransaction.protect", () => {
  const changes: Readonly<Record<string, (at: string) => void>> = {
    "is written in place": (at) => fs.writeFileSync(at, "new"),
    "is replaced by a rename": (at) => {
      fs.writeFileSync(`${at}.new`, "new")
      fs.renameSync(`${at}.new`, at)
    },
    "is written and removed": (at) => {
      fs.writeFileSync(at, "new")
      fs.rmSync(at)
    }
  }
  for (const [what, change] of Object.entries(changes)) {
    it.live(`restores all names of a file with several that ${what}`, () =>
      inRoot(({ at, root }) =>
        Effect.gen(function* () {
          fs.linkSync(at("a"), at("folder/second"))
          const before = treeOf(root)
          assert.strictEqual(yield* protectAndFail(root, "a", change), "no")
          assert.deepStrictEqual(treeOf(root), before)
          assert.strictEqual(fs.statSync(at("a")).ino, fs.statSync(at("folder/second")).ino)
        })
      )
    )
  }

  it.live("restores a link that the program replaced, and the file behind it", () =>
    inRoot(({ at, root }) =>
      Effect.gen(function* () {
        fs.symlinkSync("folder/b", at("link"))
        const before = treeOf(root)
        const replaced = protectAndFail(root, "link", (file) => {
          assert.strictEqual(file, at("folder/b"))
          fs.writeFileSync(file, "changed")
          fs.rmSync(at("link"))
          fs.writeFileSync(at("link"), "no link")
        })
        assert.strictEqual(yield* replaced, "no")
        assert.deepStrictEqual(treeOf(root), before)
      })
    )
  )
})

describeMounted("FileTransaction, where files cannot be renamed", () => {
  const { folder, program } = useProgram("mounted.ts")
  const root = path.join(folder, "root")

  const perform = (context: TestContext, scenario: string, mounts: string, ...args: ReadonlyArray<string>) => {
    fs.rmSync(root, { recursive: true, force: true })
    return inMounts(context, folder, `mkdir -p root\n${mounts}`, [program(), scenario, root, ...args])
  }

  it("refuses mount points before anything changes, and no later transaction is in their way", (context) => {
    const { after, before, outcomes } = perform(
      context,
      "mount points",
      `printf a > root/a; touch root/conf; mkdir -p root/outer/inner
      printf outside > outside; mkdir -p elsewhere
      mount --bind outside root/conf; mount --bind elsewhere root/outer/inner`
    )
    assert.deepStrictEqual(outcomes, [
      ...Array.from({ length: 7 }, () => "FileError Mounted"),
      "FileError OtherDevice",
      "FileError OtherDevice",
      "no"
    ])
    assert.deepStrictEqual(after, before)
  })

  it("refuses to protect files that it could not restore: immutable and append-only ones", (context) => {
    const { after, before, outcomes } = perform(
      context,
      "unchangeable",
      `dd if=/dev/zero of=image bs=1M count=16 status=none; mkfs.ext4 -q image; mount -o loop image root; rmdir root/lost+found
      for file in a immutable append-only; do printf old > root/$file; done
      chattr +i root/immutable; chattr +a root/append-only`
    )
    assert.deepStrictEqual(outcomes, ["FileError Permission", "FileError Permission", "no"])
    assert.deepStrictEqual(after, before)
  })

  it("restores in place what an overlay does not rename: folders of a lower layer", (context) => {
    const { after, before, outcomes } = perform(
      context,
      "lower folder",
      `mkdir -p layers; mount -t tmpfs none layers; mkdir -p layers/lower/build/sub layers/upper layers/work
      printf old > layers/lower/build/old; printf sub > layers/lower/build/sub/file; printf old > layers/lower/file
      chmod 600 layers/lower/build/old
      mount -t overlay overlay -o lowerdir=layers/lower,upperdir=layers/upper,workdir=layers/work,redirect_dir=off root`
    )
    assert.deepStrictEqual(outcomes, ["no"])
    assert.deepStrictEqual(after, before)
  })

  it("does not write into what was mounted over a file meanwhile, and undoes the rest once it is gone", (context) => {
    const { after, before, outcomes } = perform(
      context,
      "mounted meanwhile",
      `printf old > root/a; printf b > root/b; printf outside > outside`
    )
    assert.deepStrictEqual(outcomes, ["RollbackFailed", "FileError Mounted", "undefined", "no"])
    assert.strictEqual(fs.readFileSync(path.join(folder, "outside"), "utf8"), "outside")
    assert.deepStrictEqual(after, before)
  })

  it("in folders that its user may not change: restores in place what it may write, and refuses the rest", (context) => {
    const { after, before, outcomes } = perform(
      context,
      "folders of others",
      `chmod 711 .; rm -rf locks; mkdir -p locks root/tight root/sticky; chmod 777 locks root; chmod 1777 root/sticky
      for file in tight/read-only tight/open sticky/open; do printf old > root/$file; done
      chmod 644 root/tight/read-only; chmod 666 root/*/open`,
      "65534"
    )
    assert.deepStrictEqual(outcomes, ["FileError Permission", "FileError Permission", "no"])
    assert.deepStrictEqual(after, before)
  })
})
