/**
 * The format of journal lines, a number. It rises with a line that older versions of
 * this library would not understand: with another payload, or another meaning. Lines
 * of the first format have their kind alone, and lines of format n have the kind
 * `Kind@n`. So each line says what its reader must know, at no cost, and a journal
 * may mix the formats of the processes that wrote it.
 *
 * A version reads all formats up to its own and writes the oldest that can say what
 * it has to say. Another format comes in two releases: one that reads it, and a later
 * one that writes it. A roll-out from the first to the second strands no run.
 *
 * @since 0.1.0
 */

/**
 * The format of lines of this kind.
 *
 * @since 0.1.0
 * @category formats
 */
export const formatOf = (kind: string): number => {
  const marked = /@([1-9]\d{0,8})$/.exec(kind)
  return marked === null ? 1 : Number(marked[1])
}
