import { condition, defineSignal, proxyActivities, setHandler, sleep } from "@temporalio/workflow"

interface Activities {
  readonly charge: (amount: number) => Promise<string>
  readonly refund: (receipt: string) => Promise<void>
  readonly ship: (item: string) => Promise<void>
}

const { charge, refund, ship } = proxyActivities<Activities>({
  startToCloseTimeout: "5 seconds",
  retry: { maximumAttempts: 6, initialInterval: "1 second" }
})

export const approve = defineSignal<[by: string]>("approve")

export async function order(item: string): Promise<string> {
  let by: string | undefined
  setHandler(approve, (name) => {
    by = name
  })
  const receipt = await charge(30)
  try {
    if (!(await condition(() => by !== undefined, "3 days"))) throw new Error("no approval")
    await sleep("1 hour")
    await ship(item)
  } catch (error) {
    await refund(receipt)
    throw error
  }
  return `${item}, approved by ${by}`
}
