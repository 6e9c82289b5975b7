metadata description = 'The private endpoints of everything, made one after the other.'

@description('Azure region.')
param location string

@description('Tags of every resource.')
param tags object

@description('A list of name, target (an id), part of it that is reached (for example blob), and names of its DNS zones.')
param endpoints array

@description('Id of the subnet that the endpoints are in.')
param subnetId string

@description('Name of a DNS zone → its id.')
param zoneIds object

@batchSize(1)
module endpoint 'private-endpoint.bicep' = [for one in endpoints: {
  name: 'endpoint-${one.name}'
  params: {
    name: 'pep-${one.name}'
    location: location
    tags: tags
    targetId: one.target
    groupId: one.part
    subnetId: subnetId
    zones: one.zones
    zoneIds: zoneIds
  }
}]
