metadata description = 'What the parameters look like, and which app runs which function.'

@export()
@description('How far an environment is from the users.')
type Stage = 'dev' | 'test' | 'prod'

@export()
@description('Clouds, spelled as the app\'s setting SLUICE_CLOUD does.')
type Cloud = 'public' | 'usgov' | 'china'

@export()
@description('Size of one app.')
type AppSize = {
  @description('Memory of an instance in MB; 512 has a quarter of a core, 2048 one, 4096 two.')
  memoryMb: 512 | 2048 | 4096

  @description('The most instances of each function of the app.')
  @minValue(1)
  @maxValue(1000)
  maximumInstances: int

  @description('Instances that are always there, by function group.')
  alwaysReady: AlwaysReady[]

  @description('Requests that an instance answers side by side; only the API has some.')
  @minValue(1)
  @maxValue(1000)
  httpConcurrency: int
}

@export()
@description('Instances of a function group (`http` or `function:<name>`) that are always there, and paid always.')
type AlwaysReady = {
  name: string
  instanceCount: int
}

@export()
@description('Size of every app.')
type AppSizes = {
  api: AppSize
  high: AppSize
  bulk: AppSize
  ordered: AppSize
  streams: AppSize
}

@export()
@description('Tier and size of Service Bus.')
type ServiceBusSize = {
  sku: 'Standard' | 'Premium'

  @description('Messaging units of Premium; 1 for Standard.')
  capacity: 1 | 2 | 4 | 8 | 16

  @description('The most that one queue keeps, in MB: 1024 to 5120, on Premium up to 81920.')
  queueSizeMb: int
}

@export()
@description('Tier and size of Event Hubs.')
type EventHubsSize = {
  sku: 'Standard' | 'Premium'

  @description('Throughput or processing units to begin with.')
  capacity: int

  @description('Standard grows by itself up to so many throughput units; 0: not at all.')
  maximumCapacity: int

  @description('How long events are kept, in hours.')
  retentionHours: int

  @description('Keep the events as Avro files in the lake too.')
  capture: bool
}

@export()
@description('Retention that the app and the services have to agree on, in days.')
type Retention = {
  @description('How long a claim is kept; at least the queues\' time-to-live plus the dead letters\' retention.')
  claimDays: int

  @description('How long a message is remembered as done; at least as long as a claim.')
  inboxDays: int

  @description('How long a dead letter is kept.')
  deadLetterDays: int

  @description('Time-to-live of the queues, as in the emulator\'s file.')
  queueTtlDays: int

  @description('How long what was deleted can be brought back.')
  softDeleteDays: int

  @description('How long logs are kept.')
  logDays: int
}

@export()
@description('Address ranges of the private network, as CIDR blocks.')
type Addresses = {
  network: string

  @description('The apps, on their way out: /26 for several apps on Flex Consumption.')
  functions: string

  @description('Private endpoints: about twenty.')
  endpoints: string

  @description('API Management, on its way to the API.')
  gateway: string
}

@export()
@description('API Management in front of the API.')
type Gateway = {
  @description('Whether there is one.')
  enabled: bool

  @description('Tier; StandardV2 and Premium reach a private API.')
  sku: 'Consumption' | 'BasicV2' | 'StandardV2' | 'Premium'

  @description('Units; 0 for Consumption.')
  capacity: int

  @description('Where the service sends its notices.')
  publisherEmail: string

  @description('Shown in the developer portal.')
  publisherName: string

  @description('Calls a minute of each client.')
  callsPerMinute: int

  @description('Calls a day of each client.')
  callsPerDay: int

  @description('Client addresses that are let in, in ranges; empty: all.')
  allowedRanges: AddressRange[]
}

@export()
@description('A range of IPv4 addresses, both ends included.')
type AddressRange = {
  first: string
  last: string
}

@export()
@description('When somebody is called.')
type Thresholds = {
  @description('Age of the oldest message that waits on the high lane, in seconds.')
  highAgeSeconds: int

  @description('Age of the oldest message that waits on another lane, in seconds.')
  otherAgeSeconds: int

  @description('95th percentile of the time from acceptance to the end of the handler, in seconds.')
  latencySeconds: int

  @description('Failed messages in five minutes; 30 are one in ten seconds.')
  failuresPerFiveMinutes: int

  @description('Messages that wait on one queue.')
  backlogMessages: int

  @description('Share of messages that have to succeed, in percent.')
  objectivePercent: string

  @description('Whether silence is a fault: no message for half an hour.')
  expectsTraffic: bool
}
