/** The process that has a run in words, for the page and the command line. Imports nothing. */

/** `process 4242 on build-1`, by the owner of a lease; an owner of another form as it is. */
export const processText = (owner: string): string => {
  const [, host, id] = /^(.+)-[0-9a-f]{12}\/(\d+)@/.exec(owner) ?? []
  return id === undefined ? owner : `process ${id} on ${host}`
}
