import { settingsOf } from "../../../transaction/Compensation.js"
import type { AnyUndo } from "../../../transaction/Transactor.js"
import { register } from "../rollback/register.js"
import type { Use } from "./stepUse.js"

/** Whether a rollback must know of this step: it is undone, or stands in the way. */
export const canBeUndone = ({ definition }: Use): boolean => definition.compensate !== undefined || definition.pivot

const none = settingsOf({})

/** From now on a rollback knows what to do about this step. */
export const registerUndo = (use: Use, order: number): void => {
  if (!canBeUndone(use)) return
  const { context, definition, input, key, live, output } = use
  const { compensate, pivot } = definition
  const undo: AnyUndo | undefined =
    // The definition's own types say that its input and output are what its compensation takes.
    compensate && ((toUndo) => compensate.undo({ ...toUndo, input: input as never }))
  register(live, { key, order, undo, settings: compensate?.settings ?? none, output, pivot, context })
}

/** It failed, so it has not happened: nothing stands in the way of a rollback. */
export const forgetPivot = ({ definition, key, live }: Use): void => {
  if (definition.pivot) live.undoLog.delete(key)
}
