/**
 * How an id stands in the path of a URL. The API, its clients and the page use
 * these two functions.
 */

/** URL parsers resolve the segments `.` and `..`, also escaped, and drop empty ones. `~` marks those, and itself. */
const marked = /^(?:~|\.{0,2}$)/

/** The segment of a path for this id. */
export const encodeId = (id: string): string => `${marked.test(id) ? "~" : ""}${encodeURIComponent(id)}`

/** The id of a segment whose escapes are already decoded. */
export const decodeId = (segment: string): string => (segment.startsWith("~") ? segment.slice(1) : segment)
