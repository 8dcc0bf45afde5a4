import type { Tag, Value } from "../../operate/OperatorRequests.js"
import { duration } from "./duration.js"
import { bold, type Screen } from "./screen.js"
import { record, table } from "./terminal.js"

export type View<T extends Tag> = (screen: Screen, value: Value<T>) => string

/** Of `A`, what the view of a list shows. */
export type Item<T extends Tag> = Value<T> extends ReadonlyArray<infer A> ? A : never

export const time = (iso: string | null | undefined): string => iso?.slice(0, 19).replace("T", " ") ?? ""

export const percent = (share: number | null | undefined): string =>
  typeof share === "number" ? `${(share * 100).toFixed(0)} %` : ""

export const millis = (value: number | null): string => (value === null ? "" : duration(value))

export const pairs = (values: object): string =>
  Object.entries(values)
    .map(([name, one]) => `${name}=${typeof one === "object" ? JSON.stringify(one) : one}`)
    .join(" ")

export const joined = (parts: ReadonlyArray<string>): string => parts.filter((part) => part !== "").join("\n\n")

export const section = (screen: Screen, title: string, body: string): string =>
  body === "" ? "" : `${bold(screen, title)}\n${body}`

/** A column shows the field of its name, or what its function returns. */
type Column<A> = (keyof A & string) | readonly [name: string, value: (item: A) => unknown]

/** A table with a row for each item; `none` if there are no items. */
export const rows = <A>(
  screen: Screen,
  items: ReadonlyArray<A>,
  none: string,
  columns: ReadonlyArray<Column<A>>
): string =>
  items.length === 0
    ? none
    : table(
        screen,
        columns.map((column) => (typeof column === "string" ? column : column[0])),
        items.map((item) => columns.map((column) => (typeof column === "string" ? item[column] : column[1](item))))
      )

/** A line for each field that has a value. */
export const fields = (screen: Screen, values: Readonly<Record<string, unknown>>): string =>
  record(screen, Object.entries(values))
