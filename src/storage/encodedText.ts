/** Texts that the `payloads` of a storage have encoded, as they are stored. */

/** Begins each encoded text. No JSON begins so. */
export const encodedSign = "~"

/** Whether a stored text was encoded, so that only its storage can read it. */
export const isEncoded = (text: string | undefined): boolean => text?.startsWith(encodedSign) === true

/** Why a text that was encoded is not JSON. */
export const encodedByStorage = (): Error =>
  new Error("it was encoded by the payloads of its storage; open the storage with the same ones")
