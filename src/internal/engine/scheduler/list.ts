/** A doubly linked list through its own elements: first in, first out, and any element leaves in constant time. */
export interface Link {
  prev: Link | undefined
  next: Link | undefined
  list: List<any> | undefined
}

export class List<T extends Link> {
  first: T | undefined = undefined
  last: T | undefined = undefined
  size = 0

  push(item: T): void {
    item.list = this
    item.prev = this.last
    item.next = undefined
    if (this.last === undefined) this.first = item
    else this.last.next = item
    this.last = item
    this.size++
  }

  /** False when it is not in this list. */
  remove(item: T): boolean {
    if (item.list !== this) return false
    if (item.prev === undefined) this.first = item.next as T | undefined
    else item.prev.next = item.next
    if (item.next === undefined) this.last = item.prev as T | undefined
    else item.next.prev = item.prev
    item.prev = item.next = item.list = undefined
    this.size--
    return true
  }

  shift(): T | undefined {
    const item = this.first
    if (item !== undefined) this.remove(item)
    return item
  }
}
