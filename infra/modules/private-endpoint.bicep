metadata description = 'One private endpoint, with its names in DNS.'

@description('Name of the endpoint.')
param name string

@description('Azure region.')
param location string

@description('Tags of every resource.')
param tags object

@description('Id of what is reached.')
param targetId string

@description('Part of it that is reached, for example blob.')
param groupId string

@description('Id of the subnet that the endpoint is in.')
param subnetId string

@description('Names of the DNS zones that tell its address.')
param zones array

@description('Name of a DNS zone → its id.')
param zoneIds object

resource endpoint 'Microsoft.Network/privateEndpoints@2025-01-01' = {
  name: name
  location: location
  tags: tags
  properties: {
    subnet: {
      id: subnetId
    }
    customNetworkInterfaceName: 'nic-${name}'
    privateLinkServiceConnections: [
      {
        name: groupId
        properties: {
          privateLinkServiceId: targetId
          groupIds: [
            groupId
          ]
        }
      }
    ]
  }
}

resource names 'Microsoft.Network/privateEndpoints/privateDnsZoneGroups@2025-01-01' = {
  parent: endpoint
  name: 'default'
  properties: {
    privateDnsZoneConfigs: [for (zone, i) in zones: {
      name: 'zone-${i}'
      properties: {
        privateDnsZoneId: zoneIds[zone]
      }
    }]
  }
}

output id string = endpoint.id
