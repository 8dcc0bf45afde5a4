import { assert } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Exit from "effect/Exit"

interface Tagged {
  readonly _tag: string
}

/** Asserts that a value has a tag and some fields, and narrows its type. A failure prints tag and fields, or the value. */
export function assertTagged<A, const T extends string>(
  value: A,
  tag: T,
  fields: Partial<Record<keyof Extract<A, { readonly _tag: T }>, unknown>> = {}
): asserts value is Extract<A, { readonly _tag: T }> {
  const { _tag } = value as Tagged & A
  assert.strictEqual(_tag, tag, String(value))
  for (const [name, expected] of Object.entries(fields)) {
    assert.deepStrictEqual((value as Record<string, unknown>)[name], expected, `"${name}" of ${value}`)
  }
}

type Kind = "die" | "fail" | "interrupt"

/** Asserts how an effect ended: with exactly these kinds of causes. A failure prints the exit. */
export const assertFailed = (exit: Exit.Exit<unknown, unknown>, ...kinds: ReadonlyArray<Kind>): void => {
  const cause = Exit.isFailure(exit) ? exit.cause : Cause.empty
  const found: ReadonlyArray<string> = [
    ...(Cause.isDie(cause) ? ["die"] : []),
    ...(Cause.isFailure(cause) ? ["fail"] : []),
    ...(Cause.isInterrupted(cause) ? ["interrupt"] : [])
  ]
  assert.deepStrictEqual(found.join(), kinds.join(), String(exit))
}

/** Asserts that a number lies between two others or is one of them. */
export const assertBetween = (value: number, least: number, most: number, what?: string): void => {
  assert.isAtLeast(value, least, what)
  assert.isAtMost(value, most, what)
}

/** The causes of a failure in words; a success prints itself. */
export const causeOf = (exit: Exit.Exit<unknown, unknown>): string =>
  Exit.isFailure(exit) ? Cause.pretty(exit.cause) : String(exit)
