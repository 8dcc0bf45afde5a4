import { DBOS } from "@dbos-inc/dbos-sdk"

declare const charge: (amount: number) => Promise<string>
declare const refund: (receipt: string) => Promise<void>
declare const ship: (item: string) => Promise<void>

const retried = { retriesAllowed: true, maxAttempts: 6, intervalSeconds: 1 }

export const order = DBOS.registerWorkflow(
  async (item: string) => {
    const receipt = await DBOS.runStep(() => charge(30), { name: "charge", ...retried })
    try {
      const by = await DBOS.recv<string>("approve", 3 * 24 * 60 * 60)
      if (by === null) throw new Error("no approval")
      await DBOS.sleep(60 * 60 * 1_000)
      await DBOS.runStep(() => ship(item), { name: "ship", ...retried })
      return `${item}, approved by ${by}`
    } catch (error) {
      await DBOS.runStep(() => refund(receipt), { name: "refund", ...retried })
      throw error
    }
  },
  { name: "order" }
)
